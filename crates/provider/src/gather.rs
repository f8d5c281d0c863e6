//! Reads a body that comes in pieces into one piece, within a limit and within the memory budget.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::{MemoryBudget, NoMemory, Reservation};

/// A body that was read to its end, and the memory that is reserved for it.
#[derive(Debug)]
pub struct Gathered {
    /// The body.
    pub body: Bytes,
    /// Of as many bytes as the body takes.
    pub reservation: Reservation,
}

impl Gathered {
    /// The body, for which its memory stays reserved until the last copy is dropped.
    pub fn into_bytes(self) -> Bytes {
        self.reservation.attach(self.body)
    }
}

/// Why a body could not be gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatherError<E> {
    /// It is longer than it may be.
    TooLong,
    /// The budget has no room for it.
    NoMemory(NoMemory),
    /// It broke off.
    Broken(E),
}

impl<E> From<NoMemory> for GatherError<E> {
    fn from(none: NoMemory) -> Self {
        Self::NoMemory(none)
    }
}

/// Reads a body of at most `limit` bytes; `expected` is the length that it announced, if it did.
///
/// Memory is reserved as bytes come, so that a sender who only announces a long body takes none from others; but one that would
/// not fit now is refused before it is read. A body that comes in one piece is taken as it is. Once the announced length is there,
/// its end is not waited for: in a request that asks for an upgrade of its connection it never comes.
///
/// # Errors
/// As soon as the body is too long, has no room or breaks off.
pub async fn gather<E>(
    mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    expected: Option<usize>,
    limit: usize,
    memory: &MemoryBudget,
) -> Result<Gathered, GatherError<E>> {
    if expected.is_some_and(|expected| expected > limit) {
        return Err(GatherError::TooLong);
    }
    memory.check(expected.unwrap_or_default())?;
    let mut reservation = memory.nothing();
    let mut body = Vec::new();
    let mut first = Bytes::new();
    while expected != Some(first.len() + body.len())
        && let Some(piece) = pieces.next().await
    {
        let piece = piece.map_err(GatherError::Broken)?;
        let length = first.len() + body.len() + piece.len();
        if length > limit {
            return Err(GatherError::TooLong);
        }
        if first.is_empty() && body.is_empty() {
            reservation.resize(length)?;
            first = piece;
            continue;
        }
        if length > body.capacity() {
            let doubled = length.max(body.capacity().saturating_mul(2)).min(limit);
            let room = expected.filter(|expected| *expected >= length).unwrap_or(doubled);
            // Memory that is set aside for an announced length is untouched, and so not taken, until its bytes come.
            reservation.resize(if expected == Some(room) { length } else { room })?;
            body.reserve_exact(room - body.len());
            body.extend_from_slice(&std::mem::take(&mut first));
        } else if length > reservation.bytes() {
            reservation.resize(length)?;
        }
        body.extend_from_slice(&piece);
    }
    if body.is_empty() {
        return Ok(Gathered { body: first, reservation });
    }
    body.shrink_to_fit();
    reservation.resize(body.len())?;
    Ok(Gathered { body: body.into(), reservation })
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use proptest::prelude::*;

    use super::*;

    /// Nothing in these tests waits.
    fn at_once<T>(reading: impl Future<Output = T>) -> T {
        reading.now_or_never().expect("no wait")
    }

    fn gathered(
        pieces: &[usize],
        expected: Option<usize>,
        limit: usize,
        memory: &MemoryBudget,
    ) -> Result<Gathered, GatherError<&'static str>> {
        let pieces = pieces.iter().map(|length| Ok(Bytes::from(vec![b'x'; *length])));
        at_once(gather(stream::iter(pieces), expected, limit, memory))
    }

    #[test]
    fn what_comes_behind_the_announced_length_is_not_waited_for() {
        for pieces in [&[][..], &[5], &[2, 3]] {
            let length: usize = pieces.iter().sum();
            let pieces = pieces.iter().map(|length| Ok::<_, ()>(Bytes::from(vec![b'x'; *length])));
            let endless = stream::iter(pieces).chain(stream::pending());
            let gathered = at_once(gather(endless, Some(length), 10, &MemoryBudget::default()));
            assert_eq!(gathered.expect("a body").body.len(), length);
        }
    }

    #[test]
    fn a_body_that_is_announced_too_long_is_refused_unread() {
        let memory = MemoryBudget::new(100);
        let unread = || stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, ()>>> { panic!("it was read") });
        assert_eq!(at_once(gather(unread(), Some(11), 10, &memory)).expect_err("too long"), GatherError::TooLong);
        let refused = at_once(gather(unread(), Some(101), 1000, &memory));
        assert_eq!(refused.expect_err("no room"), GatherError::NoMemory(NoMemory));
    }

    #[test]
    fn a_body_of_unknown_length_is_refused_where_it_outgrows_the_budget() {
        let memory = MemoryBudget::new(100);
        let refused = gathered(&[60, 60], None, 1000, &memory);
        assert_eq!(refused.expect_err("no room"), GatherError::NoMemory(NoMemory));
        assert_eq!(memory.used(), 0, "what it took is given back");
        assert_eq!(gathered(&[60, 60], None, 100, &memory).expect_err("too long"), GatherError::TooLong);
    }

    #[test]
    fn an_announced_body_takes_no_more_than_has_come() {
        let memory = MemoryBudget::new(100);
        let pieces = stream::iter([10, 10].map(|length| Ok(Bytes::from(vec![b'x'; length])))).chain(stream::pending());
        let reading = gather::<()>(pieces, Some(90), 1000, &memory);
        let mut reading = Box::pin(reading);
        assert!((&mut reading).now_or_never().is_none());
        assert_eq!(memory.used(), 20);
    }

    #[test]
    fn a_body_that_breaks_off_gives_its_memory_back() {
        let memory = MemoryBudget::new(100);
        let pieces = stream::iter([Ok(Bytes::from_static(b"x")), Err("cut")]);
        assert_eq!(at_once(gather(pieces, None, 10, &memory)).expect_err("cut"), GatherError::Broken("cut"));
        assert_eq!(memory.used(), 0);
    }

    proptest! {
        /// Whatever the pieces and the announcement: the body is their sum, as far as the announcement goes where a piece ends
        /// there, and so much memory is reserved.
        #[test]
        fn a_body_is_its_pieces(
            pieces in proptest::collection::vec(0..50_usize, 0..12),
            expected in proptest::option::of(0..600_usize),
        ) {
            let memory = MemoryBudget::new(1 << 20);
            let gathered = gathered(&pieces, expected, 600, &memory).expect("within all limits");
            let sums = pieces.iter().scan(0, |sum, length| {
                *sum += length;
                Some(*sum)
            });
            let mut sums = std::iter::once(0).chain(sums);
            let length = sums.find(|sum| expected == Some(*sum)).unwrap_or(pieces.iter().sum());
            prop_assert_eq!(gathered.body.len(), length);
            prop_assert_eq!(memory.used(), length);
            drop(gathered.into_bytes());
            prop_assert_eq!(memory.used(), 0);
        }
    }
}
