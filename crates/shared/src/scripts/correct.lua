-- Replaces what was spent of budgets by what the ledger says. What was reported since it was asked is added.
-- KEYS: the budgets. ARGV: for each, what was spent by then, and what the ledger says.
for i, key in ipairs(KEYS) do
  local spent = tonumber(redis.call('HGET', key, 'spent'))
  if spent then
    redis.call('HSET', key, 'spent', tonumber(ARGV[2 * i]) + math.max(spent - tonumber(ARGV[2 * i - 1]), 0))
  end
end
return 0
