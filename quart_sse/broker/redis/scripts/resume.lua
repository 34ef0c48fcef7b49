-- Take a snapshot of topics: what was published after a position, the last event, the changes.
-- KEYS: as in the prelude, then events, tip and fragments of each topic
-- ARGV: as in the prelude, then how many events of a topic at most, then for each topic the
--       position's epoch and id ("": no events are wanted)
-- Returns: epoch, id of the snapshot, then for each topic {events, last event, last change, changes}
local epoch, id = take_id()
local answer = {epoch, id}
for i = 1, (#KEYS - 3) / 3 do
  local at, events = 1 + 3 * i, {}
  if ARGV[4 + 2 * i] == epoch and ARGV[5 + 2 * i] ~= "" then
    events = redis.call("XRANGE", KEYS[at], "(" .. ARGV[5 + 2 * i], "+", "COUNT", ARGV[5])
  end
  local event, change = read_tip(redis.call("GET", KEYS[at + 1]), epoch)
  answer[2 + i] = {events, event, change, redis.call("HGETALL", KEYS[at + 2])}
end
return answer
