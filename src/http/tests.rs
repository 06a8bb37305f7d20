//! What the tests of several files share.

pub(super) mod demo;
