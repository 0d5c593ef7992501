"""The mathematics of denoising diffusion, in plain PyTorch.

Symbols of Ho et al. 2020 and Song et al. 2021 and where they live:

| symbol                         | name here                                   |
|--------------------------------|---------------------------------------------|
| t                              | `t`: (B,), in [0, 1]; 0 is data, 1 is noise |
| x_0, x_t, epsilon              | `x_0`, `x_t`, `noise`                       |
| alpha-bar_t                    | `schedule.alpha_bar(t)`                     |
| sqrt(alpha-bar_t)              | `rates.signal`                              |
| sqrt(1 - alpha-bar_t)          | `rates.noise`                               |
| log(alpha-bar_t/(1-alpha-bar_t)) | `schedule.log_snr(t)`                     |
| v = sqrt(ab) eps - sqrt(1-ab) x_0 | `Velocity.target` (Salimans & Ho 2022)   |
| beta-tilde_t, mu-tilde_t       | `posterior(...)`                            |
"""
