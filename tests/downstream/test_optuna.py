"""Optuna: parameters are sought by an estimator of its own and by a function."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna_integration import OptunaSearchCV
from sklearn.model_selection import cross_val_score


@pytest.mark.filterwarnings("ignore:`optuna.terminator` module has been:FutureWarning")
@pytest.mark.filterwarnings(
    "ignore:OptunaSearchCV is experimental:optuna.exceptions.ExperimentalWarning"
)
def test_optuna_search_estimator_fits_the_best(clf, reviews):
    """`OptunaSearchCV` searches, fits the best again and predicts."""
    search = OptunaSearchCV(
        clf,
        {"learning_rate": FloatDistribution(1e-3, 1e-2, log=True)},
        n_trials=2,
        cv=2,
        random_state=0,
        error_score="raise",
    ).fit(*reviews)
    assert search.n_trials_ == 2
    assert 1e-3 <= search.best_params_["learning_rate"] <= 1e-2
    assert search.best_score_ > 0.8
    assert search.score(*reviews) > 0.8


def test_optuna_study_searches(clf, reviews):
    """A study asks for parameters, and cross-validation answers with their score."""

    def objective(trial):
        learning_rate = trial.suggest_categorical("learning_rate", [1e-6, 5e-3])
        clf.set_params(learning_rate=learning_rate)
        return cross_val_score(clf, *reviews, cv=2, error_score="raise").mean()

    grid = optuna.samplers.GridSampler({"learning_rate": [1e-6, 5e-3]}, seed=0)
    study = optuna.create_study(direction="maximize", sampler=grid)
    study.optimize(objective, n_trials=2)
    assert study.best_params == {"learning_rate": 5e-3}
