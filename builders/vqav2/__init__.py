"""The paper's construction: records from the official question and annotation files of VQA v2.0."""

# Where an edit's target comes from: the labeller, or the annotators where a model answers otherwise.
POLICIES = ("counterfactual", "model-wrong")
# What becomes of questions that text settles: probes of the worded kinds, or nothing.
EASY = ("keep", "drop")
