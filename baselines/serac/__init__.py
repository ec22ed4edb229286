"""SERAC as released: a text-only scope classifier whose rho mixes the base model with a counterfactual model."""
