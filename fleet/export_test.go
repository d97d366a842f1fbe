package fleet

// Panic has the member's actor panic.
func (m *Member) Panic() { m.system.Root.Send(m.pid, (*joined)(nil)) }
