"Saving a notebook in JupyterLab cleans it, as nbdev-clean does. `make lab` points JUPYTER_CONFIG_PATH here."
from nbdev.clean import clean_jupyter

c.ContentsManager.pre_save_hook = clean_jupyter  # noqa: F821  `c` is Jupyter's configuration
