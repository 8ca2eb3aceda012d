"""Markets whose best policy is known, with the interface of MarketEnv: a mark to hold a learner's score against."""
