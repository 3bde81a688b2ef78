"A plugin of pytest: Hypothesis stops at the first example that fails, and looks for no smaller one."

from hypothesis import Phase, settings

settings.register_profile("no_shrinking", phases=[Phase.explicit, Phase.generate])
settings.load_profile("no_shrinking")
