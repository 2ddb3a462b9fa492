"""Published networks that were trained on photographs: their trunks, where their weights lie, and what they see."""
