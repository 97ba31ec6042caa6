//! The models that forecast, wherever they are: a checkpoint in a folder or in the hub's cache, computed here, or a
//! server of one's own behind a local address. All take the same question and give the same answer.
//!
//! [`Reference`] is what a person writes, [`Model::open`] makes a [`Model`] of it, [`Model::forecast`] asks it. Nothing
//! here fetches anything; a checkpoint that is missing gets an error that names the command which brings it.

pub(crate) mod endpoint;
mod known;
mod reference;

pub use endpoint::{Address, BadAddress, Endpoint, EndpointError, PATIENCE, Problem};
pub use known::{KNOWN, Known};
pub use reference::Reference;

use chronotick_tsfm::{Abilities, Family, Forecast, ForecastError, Forecaster, OpenError, Task};

/// The name of the model that comes with the program.
pub const EMBEDDED: &str = "foresight";

/// An opened model. It is immutable and can be shared between threads.
#[derive(Debug)]
pub enum Model {
    /// A checkpoint, computed in this process.
    Local(Box<Forecaster>),
    /// A server that keeps the contract of `docs/models.md`.
    Endpoint(Box<Endpoint>),
}

impl Model {
    /// Opens what a reference names; of an endpoint it asks the description. Reads a checkpoint's weights, which may
    /// take seconds, or waits for an endpoint's answer, at most [`PATIENCE`].
    ///
    /// # Errors
    /// [`ModelError`], which names the thing and the mend: for a checkpoint that is not there the command that brings it.
    pub fn open(reference: &Reference) -> Result<Model, ModelError> {
        match reference {
            embedded if embedded.is_embedded() => Ok(Model::Local(Box::new(chronotick_train::embedded()?))),
            Reference::Folder(folder) if !folder.exists() => {
                let names = KNOWN.iter().filter_map(|known| known.name);
                let names: Vec<&str> = [EMBEDDED].into_iter().chain(names).collect();
                Err(ModelError::Nowhere { name: folder.display().to_string(), known: names.join(", ") })
            }
            Reference::Folder(folder) => Ok(Model::Local(Box::new(Forecaster::open(folder)?))),
            Reference::Hub(repository) => {
                Ok(Model::Local(Box::new(Forecaster::open(&repository.find()?.folder)?)))
            }
            Reference::Endpoint(address) => Ok(Model::Endpoint(Box::new(Endpoint::open(address)?))),
        }
    }

    /// The family of a checkpoint, or what an endpoint calls itself.
    pub fn name(&self) -> String {
        match self {
            Model::Local(forecaster) => forecaster.family().to_string(),
            Model::Endpoint(endpoint) => endpoint.name().to_owned(),
        }
    }

    /// Whether it was made to correct the forecast of the filter bank.
    pub fn corrects(&self) -> bool {
        matches!(self, Model::Local(model) if model.family() == Family::Foresight)
    }

    /// What it can do.
    pub fn abilities(&self) -> Abilities {
        match self {
            Model::Local(forecaster) => forecaster.abilities(),
            Model::Endpoint(endpoint) => endpoint.abilities().clone(),
        }
    }

    /// Forecasts every target of every task for the next `horizon` steps: `[task][target]`, every value finite. It may
    /// take as long as the model computes, of an endpoint at most [`PATIENCE`].
    ///
    /// # Errors
    /// [`ModelError`]: the question makes no sense or is beyond the model's [`abilities`](Self::abilities), or the
    /// endpoint does not answer it as it should.
    pub fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Vec<Forecast>>, ModelError> {
        match self {
            Model::Local(forecaster) => Ok(forecaster.forecast(tasks, horizon, levels)?),
            Model::Endpoint(endpoint) => endpoint.forecast(tasks, horizon, levels),
        }
    }
}

/// Why there is no model, or no forecast of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A name that leads nowhere.
    #[error(
        "{name} is no folder here; write the path of a checkpoint, OWNER/NAME, an address, or one of {known}"
    )]
    Nowhere {
        /// What was asked for.
        name: String,
        /// What has a short name.
        known: String,
    },
    /// A checkpoint that cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A question that cannot be answered.
    #[error(transparent)]
    Forecast(#[from] ForecastError),
    /// An endpoint that does not keep the contract.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_comes_with_the_program_is_opened_by_its_name() {
        let model = Model::open(&EMBEDDED.parse().unwrap()).unwrap();
        assert_eq!(model.name(), "Foresight");
        assert_eq!((model.abilities().context, model.abilities().horizon), (Some(512), 60));
    }
}
