print "for another Python"
