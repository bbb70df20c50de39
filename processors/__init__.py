"""The stages between the topics: folds, announcing, reconciling, telling, replay. They never import producers."""
