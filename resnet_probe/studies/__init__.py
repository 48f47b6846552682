"""Studies: (chain, data, options) to a `Result`; they load, read and print nothing."""
