"""Settings for all tests."""

import torch

# The nets in the tests are tiny, so a second thread costs more time than it saves.
torch.set_num_threads(1)
