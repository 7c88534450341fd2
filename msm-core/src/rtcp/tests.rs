//! Tests of the whole of `rtcp`.
