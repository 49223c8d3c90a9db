"""The built-in strategies, families and presets, registered like any third party's."""
