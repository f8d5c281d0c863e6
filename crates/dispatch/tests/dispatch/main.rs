//! What users notice of the router, through `Router::call`, over fake providers, in virtual time.

#[cfg(test)]
mod again;
#[cfg(test)]
mod choice;
#[cfg(test)]
mod commit;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod ensembles;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod health;
#[cfg(test)]
mod hedge;
#[cfg(test)]
mod held;
mod ids;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod records;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod repeats;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod usage_and_cost;
#[cfg(test)]
mod warm_up;
