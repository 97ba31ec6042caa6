//! Folders laid out in every way in which checkpoints are published, and folders that are not what they should be.

mod folder;
mod hostile;
mod judged;
mod layout;
