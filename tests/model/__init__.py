"""An exhaustive model of the pair: the real rules, the procedures around them as atomic steps, and the world as it behaves."""
