"""How good the samples are: figures of a generator's fakes against reals."""
