//! The kernel's own account of the system clock: what it can be asked for, and what it is told.

use crate::{Leap, Rate, Span};

/// What the kernel says of the system clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelClock {
    /// How much faster the system clock runs than the raw clock, slewing left aside.
    pub frequency: Rate,
    /// What is still to be slewed: positive sets the clock ahead.
    pub pending: Span,
    /// The clock is no more than this from true time, by whoever told the kernel last.
    pub max_error: Span,
    /// How far it is from true time, as estimated by the same.
    pub estimated_error: Span,
    /// Whether anybody claims that it is synchronised.
    pub synchronised: bool,
}

/// What the kernel is told of the system clock, so that every program on the machine can see how far it may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The clock is no more than this from true time.
    pub max_error: Span,
    /// How far it is from true time, as estimated.
    pub estimated_error: Span,
    /// Whether it is synchronised.
    pub synchronised: bool,
    /// What is to happen at the end of this UTC day.
    pub leap: Leap,
}

/// How the system clock shall run from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// How much faster than the raw clock.
    pub frequency: Rate,
    /// What to slew beside, a quarter of what is left in each second; positive sets the clock ahead.
    pub slew: Span,
    /// What others may rely on.
    pub claim: Claim,
}
