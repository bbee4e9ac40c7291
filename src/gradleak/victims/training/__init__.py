"""Training of victims up to a stage: the checkpoints that experiments on trained victims attack."""

from gradleak.victims.training.loop import Trained, train
from gradleak.victims.training.schedule import Plan, learning_rate, plan
from gradleak.victims.training.weights import victim_quality, victim_weights

__all__ = ["Plan", "Trained", "learning_rate", "plan", "train", "victim_quality", "victim_weights"]
