//! The models that adapt content to a learner: small neural networks, really trained, on learners' records.
//!
//! ```text
//! intelligence/models/<name>.bin       "LFM2", inputs (u32 LE), hidden units (u32 LE), then f32 LE: for each hidden
//!                                      unit its input weights and its bias; then the output weights and their bias
//! intelligence/models/<name>.json      features, how it was trained, its loss on the records
//! intelligence/training/records.csv    the learners' records: user, the features, an outcome for each model
//! intelligence/evaluation/<name>.csv   fixed inputs, and the prediction that the trained model gave for each
//! ```
//!
//! All arithmetic is in f64, in a fixed order, with additions, multiplications and divisions only. IEEE 754 rounds
//! each of them the same way everywhere, and Rust neither fuses nor reorders them. So a prediction is the same bit by
//! bit in a debug and in a release build, on every machine. That is why the activation is softsign and not one with
//! an exponential, which comes from the platform's library.

pub(crate) mod records;

/// Inputs of a model, in this order in every file.
pub(crate) const FEATURES: [&str; 12] = [
    "sentence_words",
    "new_words",
    "abstraction",
    "sections",
    "examples",
    "questions",
    "prior_level",
    "reading_grade",
    "session_minutes",
    "reviews",
    "days_since_review",
    "last_score",
];
/// The models, by what each predicts of a learner and a piece of content.
pub(crate) const MODELS: [&str; 4] = ["difficulty", "engagement", "retention", "mastery"];
/// Units in the hidden layer.
const HIDDEN: usize = 8;
/// Weights and biases of a model.
const PARAMETERS: usize = HIDDEN * (FEATURES.len() + 1) + HIDDEN + 1;
const MAGIC: &[u8; 4] = b"LFM2";
const HEAD: usize = 12;
/// Passes over the records in training.
pub(crate) const EPOCHS: usize = 6;
/// How far one record moves the weights.
pub(crate) const RATE: f64 = 0.3;
/// How far one step of continued training moves them, against the mean gradient of all records: small enough that the
/// step goes downhill, and so lowers the loss of every model that is whole.
const STEP: f64 = 0.05;

/// What a model is asked with.
pub(crate) type Input = [f64; FEATURES.len()];

/// A record to learn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Example {
    pub(crate) input: Input,
    /// 1 for yes, 0 for no.
    pub(crate) outcome: f64,
}

/// A network with one hidden layer and one output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    /// In the order of the file.
    parameters: [f64; PARAMETERS],
}

impl Model {
    /// Trains a model from small random weights, record by record (stochastic gradient descent), and rounds it to the
    /// precision of the file.
    pub(crate) fn train(examples: &[Example], rng: &mut crate::text::Rng) -> Self {
        let mut model = Self {
            parameters: std::array::from_fn(|_| rng.unit() - 0.5),
        };
        for _ in 0..EPOCHS {
            for example in examples {
                let gradient = model.gradient(example);
                model.descend(&gradient, RATE);
            }
        }
        for parameter in &mut model.parameters {
            *parameter = f64::from(*parameter as f32);
        }
        model
    }

    /// Returns the file's content.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for size in [FEATURES.len(), HIDDEN] {
            bytes.extend_from_slice(&(size as u32).to_le_bytes());
        }
        for parameter in self.parameters {
            bytes.extend_from_slice(&(parameter as f32).to_le_bytes());
        }
        bytes
    }

    /// Reads a file's content; `None` where it is no model of this shape.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let head = Self {
            parameters: [0.0; PARAMETERS],
        };
        if bytes.len() != HEAD + 4 * PARAMETERS || bytes[..HEAD] != head.to_bytes()[..HEAD] {
            return None;
        }
        let (values, _) = bytes[HEAD..].as_chunks::<4>();
        let mut values = values.iter().map(|value| f64::from(f32::from_le_bytes(*value)));
        Some(Self {
            parameters: std::array::from_fn(|_| values.next().unwrap_or(0.0)),
        })
    }

    /// Returns the probability of a yes.
    pub(crate) fn predict(&self, input: &Input) -> f64 {
        probability(self.forward(input).1)
    }

    /// Returns the mean squared error over the examples; 0 examples have none.
    pub(crate) fn loss(&self, examples: &[Example]) -> Option<f64> {
        let mut sum = 0.0;
        for example in examples {
            let error = self.predict(&example.input) - example.outcome;
            sum += error * error;
        }
        (!examples.is_empty()).then(|| sum / examples.len() as f64)
    }

    /// Returns the model after one more step of training on all examples.
    pub(crate) fn learn(&self, examples: &[Example]) -> Self {
        let mut sum = [0.0; PARAMETERS];
        for example in examples {
            for (sum, part) in sum.iter_mut().zip(self.gradient(example)) {
                *sum += part;
            }
        }
        let mut learned = self.clone();
        learned.descend(&sum, STEP / examples.len().max(1) as f64);
        learned
    }

    fn descend(&mut self, gradient: &[f64; PARAMETERS], rate: f64) {
        for (parameter, slope) in self.parameters.iter_mut().zip(gradient) {
            *parameter -= rate * slope;
        }
    }

    /// Returns the sums that enter the hidden units, and the one that enters the output.
    fn forward(&self, input: &Input) -> ([f64; HIDDEN], f64) {
        let (units, output) = self.parameters.split_at(HIDDEN * (FEATURES.len() + 1));
        let mut hidden = [0.0; HIDDEN];
        let mut z = output[HIDDEN];
        for (unit, sum) in hidden.iter_mut().enumerate() {
            let weights = &units[unit * (FEATURES.len() + 1)..];
            *sum = weights[FEATURES.len()];
            for (weight, value) in weights.iter().zip(input) {
                *sum += weight * value;
            }
            z += output[unit] * softsign(*sum);
        }
        (hidden, z)
    }

    /// Returns the gradient of the squared error of one example, by the chain rule.
    fn gradient(&self, example: &Example) -> [f64; PARAMETERS] {
        let (hidden, z) = self.forward(&example.input);
        let error = probability(z) - example.outcome;
        let at_output = 2.0 * error * 0.5 * slope(z);
        let mut gradient = [0.0; PARAMETERS];
        let (units, output) = gradient.split_at_mut(HIDDEN * (FEATURES.len() + 1));
        let weights = &self.parameters[HIDDEN * (FEATURES.len() + 1)..];
        output[HIDDEN] = at_output;
        for (unit, sum) in hidden.into_iter().enumerate() {
            output[unit] = at_output * softsign(sum);
            let at_unit = at_output * weights[unit] * slope(sum);
            let part = &mut units[unit * (FEATURES.len() + 1)..][..=FEATURES.len()];
            for (slope, value) in part.iter_mut().zip(example.input) {
                *slope = at_unit * value;
            }
            part[FEATURES.len()] = at_unit;
        }
        gradient
    }
}

/// Softsign, between -1 and 1.
fn softsign(z: f64) -> f64 {
    z / (1.0 + z.abs())
}

/// The slope of [`softsign`].
fn slope(z: f64) -> f64 {
    let below = 1.0 + z.abs();
    1.0 / (below * below)
}

fn probability(z: f64) -> f64 {
    0.5 * (1.0 + softsign(z))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Rng;

    fn trained() -> (Model, Vec<Example>) {
        let records = records::draw(&mut Rng::new(3, "records"), 400, 1_000);
        let examples = records::examples(&records, 0);
        (Model::train(&examples, &mut Rng::new(3, "weights")), examples)
    }

    #[test]
    fn a_model_learns_from_the_records_and_survives_its_file() {
        let (model, examples) = trained();
        let right = examples
            .iter()
            .filter(|example| (model.predict(&example.input) > 0.5) == (example.outcome > 0.5))
            .count();
        assert!(right > 320, "{right} of 400");
        assert_eq!(Model::from_bytes(&model.to_bytes()), Some(model));
    }

    #[test]
    fn the_same_seed_gives_the_same_weights_and_predictions_in_every_build() {
        let (model, examples) = trained();
        let mut digest = blake3::Hasher::new();
        digest.update(&model.to_bytes());
        for example in &examples {
            digest.update(&model.predict(&example.input).to_bits().to_le_bytes());
        }
        // As builds with no, some and all optimisation gave it.
        assert_eq!(digest.finalize().to_hex().as_str()[..16], *"91effe6bec10dbcc");
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (model, examples) = trained();
        let gradient = model.gradient(&examples[0]);
        for index in [0, 12, 50, PARAMETERS - 2, PARAMETERS - 1] {
            let near = |by: f64| {
                let mut moved = model.clone();
                moved.parameters[index] += by;
                moved.loss(&examples[..1]).unwrap()
            };
            let measured = (near(1e-6) - near(-1e-6)) / 2e-6;
            assert!(
                (measured - gradient[index]).abs() < 1e-6,
                "{index}: {measured} {}",
                gradient[index]
            );
        }
    }

    #[test]
    fn one_more_step_lowers_the_loss() {
        let (model, examples) = trained();
        assert!(model.learn(&examples).loss(&examples) < model.loss(&examples));
    }
}
