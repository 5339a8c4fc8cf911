"""From images to people: preprocess, network, postprocess, and the folder that a run writes."""
