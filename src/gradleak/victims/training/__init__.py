"""Victims at training stages: the checkpoints that trained-victim experiments attack."""

from gradleak.victims.training.loop import Trained, train
from gradleak.victims.training.schedule import Plan, learning_rate, plan
from gradleak.victims.training.weights import victim_quality, victim_weights

__all__ = ["Plan", "Trained", "learning_rate", "plan", "train", "victim_quality", "victim_weights"]
