//! `replay`: the same records give the same output, byte for byte, however they come.
