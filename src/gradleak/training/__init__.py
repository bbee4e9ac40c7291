"""Victims at training stages: the checkpoints that trained-victim experiments attack."""

from gradleak.training.loop import Trained, train
from gradleak.training.schedule import Plan, learning_rate, plan
from gradleak.training.weights import victim_quality, victim_weights

__all__ = ["Plan", "Trained", "learning_rate", "plan", "train", "victim_quality", "victim_weights"]
