"""Networks of open_clip: which release a file is of, its weights, and its preprocessing."""

HUB = "hf-hub:"  # prefix of a network's name, as open_clip spells it: a repository of Hugging Face
FOLDER = "local-dir:"  # a folder in the format of such a repository
REPOSITORIES = (HUB, FOLDER)  # they bring their configuration and their weights
NAMED = "name"  # value of `pretrained`: the weights are those of the repository or folder that `name` names
