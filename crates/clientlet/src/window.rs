//! How much of a call may be under way: requests and their bytes.

/// Places for requests, from the moment that their documents are read until the caller takes the
/// answer.
#[derive(Debug)]
pub(crate) struct Window {
    prefetch: usize,
    prefetch_bytes: usize,
    requests: usize,
    bytes: usize,
}

impl Window {
    /// Room for `prefetch` requests (at least one) and `prefetch_bytes` of their bodies.
    pub(crate) fn new(prefetch: usize, prefetch_bytes: usize) -> Window {
        Window { prefetch: prefetch.max(1), prefetch_bytes, requests: 0, bytes: 0 }
    }

    /// Whether one more request may be read in.
    pub(crate) fn has_place(&self) -> bool {
        self.requests < self.prefetch
    }

    /// Whether a request of `bytes` may be sent now. One that is larger than all the room goes
    /// alone.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.requests == 0
            || (self.has_place() && self.bytes.saturating_add(bytes) <= self.prefetch_bytes)
    }

    pub(crate) fn enter(&mut self, bytes: usize) {
        self.requests += 1;
        self.bytes += bytes;
    }

    pub(crate) fn leave(&mut self, bytes: usize) {
        self.requests -= 1;
        self.bytes -= bytes;
    }

    /// How many requests are under way.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_are_bounded_and_a_giant_goes_alone() {
        let mut window = Window::new(2, 100);
        assert!(window.fits(1000), "nothing else is under way");
        window.enter(60);
        assert!(window.fits(40) && !window.fits(41));
        window.enter(40);
        assert!(!window.has_place() && !window.fits(0));
        window.leave(60);
        assert!(window.fits(60));
    }
}
