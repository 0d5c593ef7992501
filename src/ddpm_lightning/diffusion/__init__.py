"""The mathematics: noise schedules, the forward process, prediction targets, losses, denoisers and guidance.

| symbol                              | name                                           |
|-------------------------------------|------------------------------------------------|
| t                                   | `t`: (B,), in [0, 1]; 0 is data, 1 is noise    |
| x_0, x_t, epsilon                   | `x_0`, `x_t`, `eps`                            |
| alpha_t, sigma_t                    | `schedule.rates(t)`: `alpha`, `sigma`          |
| lambda_t = 2 log(alpha_t / sigma_t) | `schedule.log_snr(t)`                          |
| alpha-bar_t of a table of betas     | `exp(DiscreteSchedule.log_alpha_bar(t))`       |
| q(x_t given x_0)                    | `forward_process.q_sample`                     |
| q(x_s given x_t, x_0), s < t        | `forward_process.posterior`                    |
| a x_0 + b epsilon                   | `target.Target`                                |
| w(SNR)                              | `weighting.Weighting`                          |
"""
