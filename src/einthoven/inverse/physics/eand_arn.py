"""placeholder"""
class SeparableArn: pass
