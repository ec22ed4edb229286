"""InstructBLIP: BLIP-2 whose Q-Former reads the question too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transformers

from fgvedit.backbones.families.blip2 import Blip2Backbone
from fgvedit.schema import ImageRef


class InstructBlipBackbone(Blip2Backbone):
    """A folder that `InstructBlipForConditionalGeneration` and `InstructBlipProcessor` were saved in (Dai et al. 2023).

    The features of an image are the vision tower's last states, (patches, vision width): what the Q-Former makes of
    them depends on the prompt. The connector is the projection behind it, as in BLIP-2.
    """

    model_class = transformers.InstructBlipForConditionalGeneration
    processor_class = transformers.InstructBlipProcessor

    def encode_batch(self, images: Sequence[ImageRef]) -> torch.Tensor:
        """(n, patches, vision width) of images that go through the vision tower together."""
        return self.vision_states(images)

    @property
    def feature_width(self) -> int:
        """The vision tower's width."""
        return self.model.config.vision_config.hidden_size

    def image_length(self, image: ImageRef) -> int:
        """As many tokens as the Q-Former has queries, whatever the image."""
        return self.model.config.num_query_tokens

    def image_embeddings(self, features: torch.Tensor, prompt: str) -> torch.Tensor:
        """(queries, hidden): what the Q-Former makes of an image for this prompt, projected."""
        queries, weight = self.model.query_tokens, next(self.model.qformer.parameters())
        words = torch.tensor([self.instruction_ids(prompt)], device=queries.device)
        asked = self.model.qformer(
            input_ids=words,
            attention_mask=words.new_ones(1, queries.shape[1] + words.shape[1]),
            query_embeds=queries,
            encoder_hidden_states=features[None].to(weight.device, weight.dtype),
        ).last_hidden_state[0, : queries.shape[1]]
        return self.connector(asked.to(self.connector.weight.dtype))

    def instruction_ids(self, prompt: str) -> list[int]:
        """The prompt in the Q-Former's own tokens; of one that is too long for it the end, where the question is."""
        ids = self.processor.qformer_tokenizer(prompt)["input_ids"]
        most = self.model.config.qformer_config.max_position_embeddings
        return ids if len(ids) <= most else [ids[0], *ids[len(ids) - most + 1 :]]
