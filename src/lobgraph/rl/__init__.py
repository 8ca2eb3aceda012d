"""Learning: rollouts, advantages, PPO, the training loop, checkpoints and evaluation."""
