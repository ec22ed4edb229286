"""The paper's released data as the configuration `vqav2`, with images of COCO 2014."""
