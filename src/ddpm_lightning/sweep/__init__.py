"""Many runs: their state while they are at work, and what they show together."""
