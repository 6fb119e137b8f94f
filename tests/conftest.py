"""Settings for all tests."""

import torch

# The nets of the tests are tiny: a second thread costs more than it gives.
torch.set_num_threads(1)
