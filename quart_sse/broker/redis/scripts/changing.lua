
-- Give the change of a fragment its id, note it as the fragment's last, and publish it.
-- Returns: epoch, id
local function change(fragments, tip, channel, kind, payload, ttl, name)
  local epoch, id, ms, lag = take_id()
  local event, last = read_tip(redis.call("GET", tip), epoch)
  if last ~= "" and redis.call("EXISTS", fragments) == 0 then
    -- Evicted: up to here changes are unknown.
    redis.call("HSET", fragments, "", epoch .. "|" .. last)
  end
  redis.call("HSET", fragments, name, epoch .. "|" .. id)
  -- While a clock that was set back lags, positions do not age, so what they are owed must stay.
  ttl = tonumber(ttl) + 10000 + lag
  redis.call("PEXPIRE", fragments, ttl)
  redis.call("SET", tip, epoch .. "|" .. event .. "|" .. id, "PX", ttl)
  redis.call("PUBLISH", channel, "1|" .. epoch .. "|" .. kind .. "|" .. id .. "|" .. payload)
  return epoch, id
end
