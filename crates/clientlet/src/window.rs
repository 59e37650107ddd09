//! Limits the requests of a call that are in progress, and their bytes.

/// The places for requests. A request has a place from the moment that its first document is read
/// until the caller takes the answer.
#[derive(Debug)]
pub(crate) struct Window {
    prefetch: usize,
    prefetch_bytes: usize,
    requests: usize,
    bytes: usize,
}

impl Window {
    /// Makes room for `prefetch` requests (at least one) with bodies of `prefetch_bytes` in all.
    pub(crate) fn new(prefetch: usize, prefetch_bytes: usize) -> Window {
        Window { prefetch: prefetch.max(1), prefetch_bytes, requests: 0, bytes: 0 }
    }

    /// Whether the documents of one more request may be read.
    pub(crate) fn has_place(&self) -> bool {
        self.requests < self.prefetch
    }

    /// Whether a request of `bytes` may be sent now. A request larger than `prefetch_bytes` is sent
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

    /// Returns the number of requests in progress.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_are_bounded_and_an_oversized_request_goes_alone() {
        let mut window = Window::new(2, 100);
        assert!(window.fits(1000), "no other request is in progress");
        window.enter(60);
        assert!(window.fits(40) && !window.fits(41));
        window.enter(40);
        assert!(!window.has_place() && !window.fits(0));
        window.leave(60);
        assert!(window.fits(60));
    }
}
