"""FT-LLM: fine-tune a few layers of the language model on the edit."""
