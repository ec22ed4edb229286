"""FT: fine-tune a few layers of the language model on the edit (the paper's FT-LLM)."""
