//! Carries a plan out.

use crate::{Action, Api, Error, Existing, Found, Spec, Target, plan};

/// Makes what `found` lacks, the volume before the endpoint that refers to it, and passes each step to `done`.
///
/// Returns the endpoint, and what is still not as `spec` has it although RunPod took it.
pub async fn apply(
    api: &Api,
    spec: &Spec,
    mut found: Found,
    mut done: impl FnMut(&Action, &Existing),
) -> Result<(Existing, Vec<Action>), Error> {
    for target in [Target::Volume, Target::Endpoint] {
        // Planned anew each time: the endpoint needs the id that the volume has only now.
        let actions = plan(spec, &found)?;
        let Some(action) = actions.into_iter().find(|action| action.target == target) else { continue };
        let existing = api.carry_out(&action).await?;
        done(&action, &existing);
        found.put(target, existing);
    }
    let left = plan(spec, &found)?;
    let endpoint = found.endpoints.into_iter().find(|endpoint| endpoint.name == spec.name);
    let lost = || Error::Conflicts(vec![format!("RunPod made no endpoint called {}", spec.name)]);
    Ok((endpoint.ok_or_else(lost)?, left))
}
