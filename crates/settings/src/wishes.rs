//! `may_wish` of a key: what it may want for single requests, beside what is configured.

use crate::{reader::Table, value::Item};

const EXPECTED: &str = "an array, such as [\"strategy\", \"deadline\"], or [] for nothing";

/// Something that a client may want for a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Another strategy than the model's.
    Strategy,
    /// A sooner deadline.
    Deadline,
    /// A highest price.
    MaxCost,
    /// That no other upstream is asked after the first one.
    NoFallback,
    /// Tags.
    Tags,
}

impl Wish {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Strategy, Self::Deadline, Self::MaxCost, Self::NoFallback, Self::Tags];

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strategy => "strategy",
            Self::Deadline => "deadline",
            Self::MaxCost => "max_cost",
            Self::NoFallback => "no_fallback",
            Self::Tags => "tags",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a key may wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WishSet(u8);

impl WishSet {
    /// Everything.
    pub const ALL: Self = Self((1 << Wish::ALL.len()) - 1);

    /// Whether `wish` is among them.
    pub const fn contains(self, wish: Wish) -> bool {
        self.0 & wish.bit() != 0
    }
}

/// All but another strategy: that one may be dearer, or take room that others need, and is for the operator to allow.
impl Default for WishSet {
    fn default() -> Self {
        Self(Self::ALL.0 & !Wish::Strategy.bit())
    }
}

impl FromIterator<Wish> for WishSet {
    fn from_iter<T: IntoIterator<Item = Wish>>(wishes: T) -> Self {
        Self(wishes.into_iter().fold(0, |all, wish| all | wish.bit()))
    }
}

/// What the key of `table` may wish.
pub(crate) fn read(table: &mut Table<'_>) -> WishSet {
    let Some(items) = table.take("may_wish").and_then(|item| item.list(EXPECTED)) else { return WishSet::default() };
    let choices = Wish::ALL.map(|wish| (wish.as_str(), wish));
    let texts = items.into_iter().filter_map(Item::text);
    texts.filter_map(|text| text.choice("a wish", &choices)).collect()
}
