package simulation_test

// operationSeeds are the inputs that the fuzzer begins with.
func operationSeeds() [][]byte {
	code := func(op operation) byte {
		for i, k := range operationKinds {
			if k == op {
				return byte(i)
			}
		}
		panic("the operation has no code")
	}
	seed := func(config [opsConfigBytes]byte, steps ...[2]byte) []byte {
		input := config[:]
		for _, s := range steps {
			input = append(input, s[0], s[1])
		}
		return input
	}
	op := func(o operation, arg byte) [2]byte { return [2]byte{code(o), arg} }
	at := func(o operation, arg byte) [2]byte { return [2]byte{code(o) | hurry, arg} } // goes on at once

	plain := [opsConfigBytes]byte{}
	told := [opsConfigBytes]byte{cfgFunctions: 0x20}
	full := [opsConfigBytes]byte{cfgCapacity: 2, cfgIdle: 0x01, cfgFunctions: 0x3b, cfgPeriods: 0x5f, cfgCallers: 0x05}
	return [][]byte{
		seed(plain),
		seed(told, op(opGet, 0), op(opGet, 0), op(opGet, 0), op(opPut, 0), op(opPut, 0), op(opEndAgain, 0)),
		seed(told, op(opGet, 0), op(opGet, 0), op(opGet, 6), op(opGet, 0), op(opCancel, 1), op(opPass, 5), op(opTaint, 0)),
		seed(told, op(opMood, byte(failing)), op(opGet, 0), op(opGet, 7), op(opPass, 6), op(opRecover, 0), op(opPass, 6), op(opTryGet, 0)),
		seed(told, op(opMood, byte(deaf)), op(opGet, 0), op(opPass, 7), op(opClose, 7), op(opPass, 8)),
		seed(full, op(opGet, 0x10), op(opGet, 0x18), op(opGet, 0x10), op(opPut, 0), op(opGet, 0x18), op(opPass, 8), op(opClear, 1), op(opPut, 0)),
		seed(full, op(opDo, 0x08), op(opDo, 0x10), op(opDo, 0x18), op(opDo, 0x38), op(opPass, 9), op(opMood, onCheck<<3|byte(failing)), op(opGet, 0)),
		seed(full, op(opSuspend, 0), op(opGet, 0), op(opGet, 7), op(opSetCapacity, 0), op(opResume, 0), op(opSetCapacity, 4), op(opReady, 0), op(opExplain, 0)),
		seed(told, op(opGet, 0), op(opGet, 0), op(opNestedGet, 0), op(opNestedGet, 0x20), op(opPass, 2)),
		seed(told, at(opGet, 3), at(opGet, 3), at(opGet, 3), at(opGet, 3), at(opPut, 0), at(opPass, 0), at(opPut, 0), at(opCancel, 0), at(opClose, 0)),
		seed([opsConfigBytes]byte{cfgCapacity: 0x31, cfgPolicies: 0x1d, cfgFunctions: 0x22, cfgCallers: 0x0a},
			op(opResume, 0), op(opGet, 0), op(opGet, 7), op(opGet, 5), op(opClear, 0), op(opResume, 0), op(opPut, 0), op(opMood, onReset<<3|byte(panicking)), op(opGet, 0), op(opPut, 0)),
		seed([opsConfigBytes]byte{cfgPeriods: 0x20, cfgFunctions: 0x20}, op(opGet, 0), op(opGet, 0), op(opGet, 0), op(opPass, 8), op(opPut, 0), op(opPut, 0)),
		// What takes connections out of turn, or out of the pool.
		seed(told, op(opGet, 0), op(opGet, 0), op(opPut, 0), op(opEach, 0x10), op(opGet, 0), op(opHijack, 0), op(opPass, 2), op(opPut, 0), op(opPass, 6)),
		seed([opsConfigBytes]byte{cfgCapacity: 0xc3, cfgFunctions: 0x21, cfgPeriods: 0x02}, op(opWarm, 0x18), op(opTryGetAll, 0), at(opEach, 0x28),
			at(opPut, 0), op(opGet, 0), op(opSetMinIdle, 2), op(opClear, 0), op(opPass, 8), op(opEach, 0), op(opClose, 0)),
		// What the end of a job makes possible: a connect for MinIdle, after a check and after
		// Apply, and a connect for a caller whose check has failed.
		seed([opsConfigBytes]byte{cfgCapacity: 3, cfgIdle: 0x01, cfgFunctions: 0x21, cfgPeriods: 0x01}, op(opPass, 8), op(opGet, 0), op(opPass, 0)),
		seed([opsConfigBytes]byte{cfgIdle: 0x01, cfgFunctions: 0x38}, op(opGet, 0), op(opGet, 0), op(opMood, onApply<<3|byte(slow)),
			op(opPut, 0), op(opGet, 0x10), op(opTaint, 0), op(opPass, 3), op(opPass, 0)),
		seed([opsConfigBytes]byte{cfgCapacity: 3, cfgFunctions: 0x21, cfgPeriods: 0x40}, op(opGet, 0), op(opPut, 0), op(opMood, onCheck<<3|byte(failing)),
			op(opMood, onDisconnect<<3|byte(slow)), op(opPass, 2), op(opGet, 0), op(opPass, 0)),
	}
}
