//! Handles: numbers that look like pointers.

use std::marker::PhantomData;
use std::ptr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::result::{Failure, msm_result};

/// Handles of one type that there can be at a time.
const MAX_HANDLES: usize = 1 << INDEX_BITS;

const TAG_BITS: u32 = 4;
const INDEX_BITS: u32 = 20;
const GENERATION: u32 = TAG_BITS + INDEX_BITS;

/// What C holds of one type: `C` is what it calls it, `T` what is behind it.
///
/// A handle is the number of a place, how often the place was given before, and the type's tag. So one that was freed means nothing, until its place
/// was given 2^40 times more (2^8 times on a machine of 32 bits).
pub(crate) struct Handles<C, T> {
    /// Not zero, and another one for each type.
    tag: usize,
    /// For errors.
    what: &'static str,
    places: RwLock<Places<T>>,
    _of: PhantomData<fn(C)>,
}

struct Places<T> {
    all: Vec<Place<T>>,
    free: Vec<usize>,
}

struct Place<T> {
    generation: usize,
    holds: Option<Arc<T>>,
}

impl<C, T> Handles<C, T> {
    /// Of a type that errors call `what`, under a `tag` from 1 to 15.
    pub(crate) const fn new(tag: usize, what: &'static str) -> Self {
        assert!(tag > 0 && tag < 1 << TAG_BITS, "a tag is of four bits, and not zero");
        let places = Places { all: Vec::new(), free: Vec::new() };
        Self { tag, what, places: RwLock::new(places), _of: PhantomData }
    }

    /// Gives a handle.
    pub(crate) fn give(&self, value: T) -> Result<*mut C, Failure> {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let places = &mut *places;
        let index = match places.free.pop() {
            Some(index) => index,
            None if places.all.len() < MAX_HANDLES => {
                places.all.push(Place { generation: 0, holds: None });
                places.all.len() - 1
            }
            None => {
                let message = format!("there are {MAX_HANDLES} handles of a {} already", self.what);
                return Err(Failure::new(msm_result::TooManyHandles, message));
            }
        };
        let Some(place) = places.all.get_mut(index) else { return Err(self.invalid()) };
        place.holds = Some(Arc::new(value));
        let number = place.generation << GENERATION | index << TAG_BITS | self.tag;
        Ok(ptr::without_provenance_mut(number))
    }

    /// What is behind a handle.
    pub(crate) fn get(&self, handle: *const C) -> Result<Arc<T>, Failure> {
        let (index, generation) = self.place(handle)?;
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let place = places.all.get(index).filter(|place| place.generation == generation);
        place.and_then(|place| place.holds.clone()).ok_or_else(|| self.invalid())
    }

    /// What was behind a handle, which means nothing any more.
    pub(crate) fn free(&self, handle: *const C) -> Result<Arc<T>, Failure> {
        let (index, generation) = self.place(handle)?;
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let places = &mut *places;
        let place = places.all.get_mut(index).filter(|place| place.generation == generation);
        let (place, held) = place
            .and_then(|place| {
                let held = place.holds.take()?;
                Some((place, held))
            })
            .ok_or_else(|| self.invalid())?;
        place.generation = generation.wrapping_add(1) & usize::MAX >> GENERATION;
        places.free.push(index);
        Ok(held)
    }

    fn place(&self, handle: *const C) -> Result<(usize, usize), Failure> {
        let number = handle.addr();
        if number == 0 {
            let message = format!("the {} is NULL", self.what);
            return Err(Failure::new(msm_result::NullPointer, message));
        }
        if number & ((1 << TAG_BITS) - 1) != self.tag {
            return Err(self.invalid());
        }
        Ok((number >> TAG_BITS & (MAX_HANDLES - 1), number >> GENERATION))
    }

    fn invalid(&self) -> Failure {
        let message = format!("this is no {}, or it was freed already", self.what);
        Failure::new(msm_result::InvalidHandle, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Thing {}

    fn result<T>(outcome: Result<T, Failure>) -> msm_result {
        outcome.err().map_or(msm_result::Ok, |failure| failure.result)
    }

    #[test]
    fn what_was_freed_means_nothing_even_where_its_place_is_given_again() {
        let things = Handles::<Thing, u32>::new(3, "thing");
        let (first, second) = (things.give(1).unwrap(), things.give(2).unwrap());
        assert_eq!((*things.get(first).unwrap(), *things.get(second).unwrap()), (1, 2));
        let kept = things.get(first).unwrap();
        assert_eq!(*things.free(first).unwrap(), 1);
        let third = things.give(3).unwrap();
        assert_ne!(first, third);
        assert_eq!(
            first.addr() as u32 & 0xff_ffff,
            third.addr() as u32 & 0xff_ffff,
            "it has the place of the first"
        );
        assert_eq!(result(things.get(first)), msm_result::InvalidHandle);
        assert_eq!(result(things.free(first)), msm_result::InvalidHandle);
        // Who holds it still has it.
        assert_eq!((*kept, *things.get(third).unwrap()), (1, 3));
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        let things = Handles::<Thing, u32>::new(3, "thing");
        let handle = things.give(1).unwrap();
        assert_eq!(result(things.get(ptr::null())), msm_result::NullPointer);
        for number in [1, 2, handle.addr() ^ 1, handle.addr() + 16, usize::MAX] {
            assert_eq!(
                result(things.get(ptr::without_provenance(number))),
                msm_result::InvalidHandle,
                "{number}"
            );
        }
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let things = Handles::<Thing, ()>::new(1, "thing");
        let all: Vec<_> = (0..MAX_HANDLES).map(|_| things.give(()).unwrap()).collect();
        assert_eq!(result(things.give(())), msm_result::TooManyHandles);
        things.free(all[7]).unwrap();
        things.give(()).unwrap();
    }
}
