"""The Online Retail file, rung up again."""
