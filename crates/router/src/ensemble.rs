//! The configuration of an ensemble: several models that get the same request, and how one of their answers is picked.

use std::time::Duration;

/// Several models that answer as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensemble {
    /// What clients ask for.
    pub name: String,
    /// The models that are asked, by their public names; one may be asked several times.
    pub members: Vec<String>,
    /// Which answer is taken.
    pub pick: Pick,
    /// The time limit for members and judge together.
    pub deadline: Duration,
}

/// Which of the answers is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// The one that is there first.
    First,
    /// The longest.
    Longest,
    /// The one that most members agree on.
    Majority(Extract),
    /// The one with the highest mean log-probability of its tokens.
    Logprob,
    /// The one that a judge, which is a model, scores highest.
    Judge(Judge),
}

impl Pick {
    /// The name used in configuration and replies.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Longest => "longest",
            Self::Majority(_) => "majority",
            Self::Logprob => "logprob",
            Self::Judge(_) => "judge",
        }
    }
}

/// What of an answer counts as a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extract {
    /// All of it, but for case, white space and punctuation.
    Text,
    /// Its last number.
    Number,
    /// Its last single letter from A to J.
    Choice,
}

/// The model that scores the answers, and by which rubric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judge {
    /// A public model.
    pub model: String,
    /// What makes an answer good.
    pub rubric: String,
}

impl Judge {
    /// The rubric where the configuration has none.
    pub const RUBRIC: &'static str = "Is the answer correct, does it do what was asked, completely, and is it clear and no longer than it needs to be?";
}
