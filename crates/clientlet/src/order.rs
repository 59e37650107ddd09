//! Puts ended requests back into the order in which they began, if the caller asks for it.

use std::collections::VecDeque;

/// Takes ended requests in any order, and gives them out as they ended or by their index.
///
/// The pipeline bounds the memory: it begins no request while `prefetch` requests are in here or in
/// flight.
#[derive(Debug)]
pub(crate) enum Order<T> {
    AsEnded(VecDeque<T>),
    ByIndex {
        /// The index of the first slot.
        next: u64,
        slots: VecDeque<Option<T>>,
    },
}

impl<T> Order<T> {
    pub(crate) fn new(in_order: bool) -> Order<T> {
        if in_order {
            Order::ByIndex { next: 0, slots: VecDeque::new() }
        } else {
            Order::AsEnded(VecDeque::new())
        }
    }

    /// Adds request number `index`, which has ended. Each index is added exactly once.
    pub(crate) fn push(&mut self, index: u64, ended: T) {
        match self {
            Order::AsEnded(queue) => queue.push_back(ended),
            Order::ByIndex { next, slots } => {
                let slot = usize::try_from(index - *next)
                    .expect("an index in flight lies less than prefetch beyond the next one");
                if slots.len() <= slot {
                    slots.resize_with(slot + 1, || None);
                }
                debug_assert!(slots[slot].is_none(), "request {index} ended twice");
                slots[slot] = Some(ended);
            }
        }
    }

    /// Returns all requests that are in here, even if earlier ones are missing.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = T> {
        let (queue, slots) = match self {
            Order::AsEnded(queue) => (queue, VecDeque::new()),
            Order::ByIndex { slots, .. } => (VecDeque::new(), slots),
        };
        queue.into_iter().chain(slots.into_iter().flatten())
    }

    /// Returns the next request; `None` if it has not ended yet.
    pub(crate) fn pop(&mut self) -> Option<T> {
        match self {
            Order::AsEnded(queue) => queue.pop_front(),
            Order::ByIndex { next, slots } => {
                let ended = slots.front_mut()?.take()?;
                slots.pop_front();
                *next += 1;
                Some(ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_in_is_index_order_out() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..100 {
            let mut indices: Vec<u64> = (0..random.u64(0..40)).collect();
            random.shuffle(&mut indices);
            let mut order = Order::new(true);
            let mut out = Vec::new();
            for index in &indices {
                order.push(*index, *index);
                out.extend(std::iter::from_fn(|| order.pop()));
            }
            assert_eq!(out, (0..indices.len() as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_order_the_first_to_end_is_the_first_out() {
        let mut order = Order::new(false);
        order.push(2, "c");
        order.push(0, "a");
        assert_eq!([order.pop(), order.pop(), order.pop()], [Some("c"), Some("a"), None]);
    }

    #[test]
    fn a_missing_head_holds_back_the_rest() {
        let mut order = Order::new(true);
        order.push(1, "b");
        assert_eq!(order.pop(), None);
        order.push(0, "a");
        assert_eq!([order.pop(), order.pop(), order.pop()], [Some("a"), Some("b"), None]);
    }
}
