"""Days that can be played: who trades what, when, at which price, planned before the first order."""
