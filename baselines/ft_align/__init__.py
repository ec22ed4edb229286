"""FT-Align: fine-tune the connector between vision and language on the edit."""
