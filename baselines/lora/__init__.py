"""LoRA: learn the edit in low-rank adapters of the language model, by peft."""
